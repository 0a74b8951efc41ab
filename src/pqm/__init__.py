"""Process Reward Model with Q-value Rankings: rollouts, labels, training and best-of-n evaluation."""

__version__ = "0.6.0"
