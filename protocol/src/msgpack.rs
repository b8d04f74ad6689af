//! The shape of a msgpack body, checked before serde sees it: whole, not too
//! deep, nothing behind it.

use crate::error::DecodeError;

/// Nothing that we send is nested deeper than half of this.
pub const MAX_DEPTH: usize = 32;

/// Length of the one value that `body` begins with.
///
/// Works without recursion and without an allocation that grows with what the
/// body claims.
///
/// # Errors
/// The value is truncated, nested deeper than [`MAX_DEPTH`], or holds a byte
/// that msgpack reserves.
pub fn value_length(id: u32, body: &[u8]) -> Result<usize, DecodeError> {
    // How many values are still due at each level.
    let mut due = [0_u64; MAX_DEPTH];
    due[0] = 1;
    let mut depth = 0;
    let mut at = 0;
    loop {
        while due[depth] == 0 {
            if depth == 0 {
                return Ok(at);
            }
            depth -= 1;
        }
        due[depth] -= 1;
        let inner = step(id, body, &mut at)?;
        if inner > 0 {
            depth += 1;
            if depth == MAX_DEPTH {
                return Err(DecodeError::TooDeep {
                    id,
                    limit: MAX_DEPTH,
                });
            }
            due[depth] = inner;
        }
    }
}

/// Moves past one value, or past the head of a list or map; says how many
/// values that one holds.
fn step(id: u32, body: &[u8], at: &mut usize) -> Result<u64, DecodeError> {
    let start = *at;
    let byte = *take(id, body, at, 1)?.first().unwrap_or(&0);
    let mut inner = 0;
    let skip = match byte {
        0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => 0,
        0x80..=0x8f => {
            inner = u64::from(byte & 0x0f) * 2;
            0
        }
        0x90..=0x9f => {
            inner = u64::from(byte & 0x0f);
            0
        }
        0xa0..=0xbf => usize::from(byte & 0x1f),
        0xc1 => {
            return Err(DecodeError::NotMsgpack {
                id,
                byte,
                at: start,
            });
        }
        // bin, str: a length and so many bytes.
        0xc4 | 0xd9 => number(id, body, at, 1)?,
        0xc5 | 0xda => number(id, body, at, 2)?,
        0xc6 | 0xdb => number(id, body, at, 4)?,
        // ext: a length, a type byte, and so many bytes.
        0xc7 => number(id, body, at, 1)? + 1,
        0xc8 => number(id, body, at, 2)? + 1,
        0xc9 => number(id, body, at, 4)? + 1,
        0xcc | 0xd0 => 1,
        0xcd | 0xd1 => 2,
        0xca | 0xce | 0xd2 => 4,
        0xcb | 0xcf | 0xd3 => 8,
        // fixext: a type byte and 1, 2, 4, 8 or 16 bytes.
        0xd4..=0xd8 => 1 + (1 << (byte - 0xd4)),
        0xdc => {
            inner = number(id, body, at, 2)? as u64;
            0
        }
        0xdd => {
            inner = number(id, body, at, 4)? as u64;
            0
        }
        0xde => {
            inner = number(id, body, at, 2)? as u64 * 2;
            0
        }
        0xdf => {
            inner = number(id, body, at, 4)? as u64 * 2;
            0
        }
    };
    take(id, body, at, skip)?;
    Ok(inner)
}

fn number(id: u32, body: &[u8], at: &mut usize, width: usize) -> Result<usize, DecodeError> {
    let bytes = take(id, body, at, width)?;
    Ok(bytes
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}

fn take<'b>(
    id: u32,
    body: &'b [u8],
    at: &mut usize,
    length: usize,
) -> Result<&'b [u8], DecodeError> {
    let end = at.saturating_add(length);
    let bytes = body.get(*at..end).ok_or(DecodeError::Truncated {
        id,
        have: body.len(),
        want: end,
    })?;
    *at = end;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = value_length(4, &body);
        }

        #[test]
        fn a_value_ends_where_its_encoder_stopped(
            map in prop::collection::btree_map("[a-z]{0,40}", prop::collection::vec(any::<i64>(), 0..40), 0..20),
            behind in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            let mut body = rmp_serde::to_vec_named(&map).expect("it encodes");
            let length = body.len();
            body.extend(behind);
            prop_assert_eq!(value_length(4, &body)?, length);
            for cut in 0..length {
                let truncated = matches!(value_length(4, &body[..cut]), Err(DecodeError::Truncated { .. }));
                prop_assert!(truncated);
            }
        }
    }

    #[test]
    fn depth_is_bounded_without_recursion() {
        let deep = vec![0x91; 4096];
        assert!(matches!(
            value_length(4, &deep),
            Err(DecodeError::TooDeep {
                limit: MAX_DEPTH,
                ..
            })
        ));
    }

    #[test]
    fn a_claimed_length_is_not_believed() {
        for body in [
            vec![0xdd, 0xff, 0xff, 0xff, 0xff],
            vec![0xdf, 0xff, 0xff, 0xff, 0xff],
            vec![0xc6, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(matches!(
                value_length(4, &body),
                Err(DecodeError::Truncated { .. })
            ));
        }
    }

    #[test]
    fn the_reserved_byte_is_named() {
        assert!(matches!(
            value_length(4, &[0x91, 0xc1]),
            Err(DecodeError::NotMsgpack {
                byte: 0xc1,
                at: 1,
                ..
            })
        ));
    }
}
