"""The cloud, the laptop cloud and the command."""
