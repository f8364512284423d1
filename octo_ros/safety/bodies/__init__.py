"""The bodies of an arm and of what stands around it: shapes, who can touch whom, distances, reach."""
