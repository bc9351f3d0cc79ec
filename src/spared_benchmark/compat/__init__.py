"""What other packages need before they can be imported."""
