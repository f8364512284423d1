def write_report(directory, summary, log, comparison):
    pass
