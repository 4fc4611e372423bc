"""The plugin files that ``kptool plugin new`` writes, each with its test; "example" stands for the plugin's name."""
