"""What rows, labels and weights are: read from anything that holds them, checked and scaled."""
