"""The mesh: sockets, the gossip loop, and questions scattered and answered over them."""
