//! The controllers' client: many workspaces through one endpoint.
