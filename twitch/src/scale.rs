//! How many units the channels need.
