"""What stands below the heatmaps on the Map page, one file a panel."""
