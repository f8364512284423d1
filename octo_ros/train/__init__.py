"""Training and fine-tuning of Octo in PyTorch, into the official checkpoint layout. Needs the extra "export".

episodes   what training data is, and the checks on it
windows    histories, action chunks, goals and their masks, as the official code makes them
augment    random changes to pictures
batches    a batch for every step, which depends on the seed and the step alone
objective  losses of the heads; distill: learning from another head
optimiser  AdamW as the official training sets it; schedule: learning rates
start      the model to begin with: from scratch (sizes, words, initialise) or from a checkpoint
run        the loop; state: to go on after a kill; validate, record, curves: what is told
"""
