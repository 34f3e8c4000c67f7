"""The benchmark behind ``fastlin bench``: fastlin against other libraries, on this machine.

problems      what is timed                data          its rows and labels
contestants   fastlin's own entries        peers         the other libraries
correctness   the check that comes first   optimum       the way to the optimum
predictions   of given weights
timing        rounds, pauses, pinning      limits        what the machine can do at most
machine       what the machine is          suite         puts all of it together
results       the record, also as JSON     table, plot   the record for people
"""
