//! A connection to chat over IRC.
