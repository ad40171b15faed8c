"""Rendering, request parameters, errors, access rules and components of pages."""
