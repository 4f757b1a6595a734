//! HTTP requests into store operations, as a Kubernetes API server.
