"""Composes YAML files, `env.yaml` and the command line into typed, frozen configuration."""
