"""What a study is, and how studies get from disk to a batch."""
