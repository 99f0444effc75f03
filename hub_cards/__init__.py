"""Templates of dataset, model and Space cards, and the code that fills and checks them."""
