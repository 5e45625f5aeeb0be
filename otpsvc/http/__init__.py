"""The doors that speak HTTP: the tenants' API, the pages, and the operator's listener."""
