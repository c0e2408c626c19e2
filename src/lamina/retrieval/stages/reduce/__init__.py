"""Stages that make fewer documents out of many."""
