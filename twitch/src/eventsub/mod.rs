//! A session of EventSub over a websocket.
