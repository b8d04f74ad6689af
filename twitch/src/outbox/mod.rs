//! What the bot says, each message once.
