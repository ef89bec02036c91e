"""What an evaluation found: numbers, where the loss comes from, and the files that hold it."""
