"""Statistics over what workers counted. Pure: values in, values out.

sketch   quantiles of log-bucket counts
"""
