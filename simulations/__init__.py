"""The real daemon in a simulated world: N nodes in one process, on a virtual clock, over simulated streams.

    plan         what happens: faults and questions, as data
    run          one run: builds the hosts, lets the plan happen, judges it
      host         a machine and its process: the shipped `varlogd.daemon.Daemon` in a `World` of ours
      network      the wires between hosts, and `streams`, TCP as an application sees it
      clock        virtual time: it jumps when nothing can run
      determinism  the switches that make one seed give one trace, and traps for whatever would break that
    invariants   what must always hold; the simulator knows the truth (`truth`) and compares
    report       what people read
    many         many seeds on all cores, and what failed kept
    level1       the membership core alone, without the daemon: thousands of nodes, and the table to beat

`varlogd` never imports this package. `python -m simulations` says what there is to run.
"""
