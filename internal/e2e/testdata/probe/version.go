package main

// Version is what tests change.
const Version = "v1"
