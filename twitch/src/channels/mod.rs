//! Which channels the bot is to be in, and where it is in them.
