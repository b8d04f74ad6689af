//! The binary, and plain HTTP.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) gateway: String,
    control: String,
}

impl Process {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_baton-discord"))
            .args(flags)
            .arg("--json")
            .env_remove("BATON_GATEWAY_TOKEN")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        Self {
            child,
            gateway: ready["gateway"].as_str().unwrap().to_owned(),
            control: ready["control"].as_str().unwrap().to_owned(),
        }
    }

    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        http(
            self.control.strip_prefix("http://").unwrap(),
            method,
            path,
            "",
            body,
        )
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (code, text) = self.request("POST", path, &body.to_string());
        (code, serde_json::from_str(&text).unwrap())
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.request("GET", path, "").1).unwrap()
    }

    pub(crate) fn lines(&self, path: &str) -> Vec<Value> {
        let text = self.request("GET", path, "").1;
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request by HTTP/1.0, which has no chunks; the code and the body.
pub(crate) fn http(
    address: &str,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> (u16, String) {
    let (head, body) = whole(address, method, path, headers, body);
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

/// The same, with the head as it came.
pub(crate) fn whole(
    address: &str,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    stream
        .write_all(format!("{head}{body}").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}
