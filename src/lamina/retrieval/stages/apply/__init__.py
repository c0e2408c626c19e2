"""Stages that give documents another form."""
