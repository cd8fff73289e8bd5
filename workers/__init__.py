"""Where the mathematics meets stored bytes: shards, tasks, engines and folds."""
