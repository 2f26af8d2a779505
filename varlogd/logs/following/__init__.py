"""What is written from now on, through rotations of all kinds."""
