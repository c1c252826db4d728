"""The commands lab run, lab list, lab draw and trace."""
