"""Process Reward Model with Q-value Rankings: rollouts, labels, training and honest best-of-n evaluation."""

__version__ = "0.4.0"
