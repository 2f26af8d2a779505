"""Level 1: the membership core alone, on a heap of events: thousands of nodes, no daemon and no sockets.

world        one simulated mesh: time, processes, and what the plan may do to them
  node       a process: stopped, frozen, blocked, slow
  network    datagrams, or streams with TCP's delays, refusals and broken links
"""
