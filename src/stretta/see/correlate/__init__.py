"""Correlation of socket calls with the packets that they caused."""
