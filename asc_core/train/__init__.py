"""Making weights fit an application: fine-tuning."""
