"""Level 1: the membership core alone, on a heap of events: thousands of nodes, no daemon and no sockets.

world        one simulated mesh: time, processes, and what may be done to them
  node       a process: stopped, frozen, blocked, slow
  network    datagrams, or streams with TCP's delays, refusals and broken links
memberlist   another membership with the same face, to compare with (its rules: `memberlist_rules`)
trials       experiments that give figures; `rows` are those of the table to beat, `table` prints it
"""
