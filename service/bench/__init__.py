"""`sketchd bench`: load on a service, measured by who asks."""
