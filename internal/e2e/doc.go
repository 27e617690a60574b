// Package e2e plays the main job from outside: the built programs, a Git
// repository, real databases and caches, requests through the edge.
package e2e
