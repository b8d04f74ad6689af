//! Redis Streams.

use std::collections::BTreeMap;

use redis::{AsyncConnectionConfig, Client, aio::MultiplexedConnection, cmd};

use super::{BYTES, Failed, Lines};

/// Of each event of a stream its id, and names and values.
type Entries = Vec<(String, Vec<(String, Vec<u8>)>)>;

pub(super) struct Publisher {
    connection: MultiplexedConnection,
    payload: Vec<u8>,
}

async fn connect(url: &str) -> Result<MultiplexedConnection, Failed> {
    // One that reads waits in the server.
    let patient = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let client = Client::open(url)?;
    let connecting = client.get_multiplexed_async_connection_with_config(&patient);
    Ok(connecting.await?)
}

impl Publisher {
    pub(super) async fn connect(url: &str) -> Result<Self, Failed> {
        Ok(Self {
            connection: connect(url).await?,
            payload: vec![b'x'; BYTES],
        })
    }

    pub(super) async fn publish(&self, number: u64) -> Result<(), Failed> {
        let mut connection = self.connection.clone();
        let mut add = cmd("XADD");
        add.arg(format!("bare:{}", number % 16)).arg("*");
        add.arg("number").arg(number);
        add.arg("payload").arg(&self.payload);
        let _: String = add.query_async(&mut connection).await?;
        Ok(())
    }
}

pub(super) async fn consume(url: &str, shards: u32, mut lines: Lines) -> Result<(), Failed> {
    let mut connection = connect(url).await?;
    let streams: Vec<String> = (0..shards)
        .map(|shard| format!("baton:events:{{{shard}}}"))
        .collect();
    for stream in &streams {
        let mut create = cmd("XGROUP");
        create.arg("CREATE").arg(stream);
        create.arg(&["bench", "0", "MKSTREAM"]);
        let _: () = create.query_async(&mut connection).await?;
    }
    loop {
        let mut read = cmd("XREADGROUP");
        read.arg(&["GROUP", "bench", "one", "COUNT", "256", "BLOCK", "1000"]);
        read.arg("STREAMS").arg(&streams);
        read.arg(vec![">"; streams.len()]);
        let found: Option<Vec<(String, Entries)>> = read.query_async(&mut connection).await?;
        for (stream, entries) in found.unwrap_or_default() {
            let mut acknowledge = cmd("XACK");
            acknowledge.arg(stream).arg("bench");
            for (id, fields) in entries {
                let fields: BTreeMap<&str, &[u8]> = fields
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_slice()))
                    .collect();
                let text = |name: &str| String::from_utf8(fields.get(name)?.to_vec()).ok();
                lines.write(text)?;
                acknowledge.arg(id);
            }
            let _: u64 = acknowledge.query_async(&mut connection).await?;
        }
        lines.flush()?;
    }
}
