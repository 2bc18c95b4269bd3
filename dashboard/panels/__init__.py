"""Parts of the Map and Tune pages that can be read by themselves, one file a panel."""
