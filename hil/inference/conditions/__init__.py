"""What a network predicts under one condition: correction, age, treatment."""
