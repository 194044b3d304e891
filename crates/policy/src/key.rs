//! Keys: the bytes that a rate limit, a cached decision or a hash belongs to.

use std::net::IpAddr;

use tidegate_message::View;

use crate::field::Field;
use crate::{KeyPlan, PolicyError};

/// A compiled `KeyPlan`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    by: By,
    also: Box<[Key]>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum By {
    Field(Field),
    ClientIp,
    Route,
    HashKey,
}

/// What a key may need besides the message.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyInput<'a> {
    /// Stable name of the route.
    pub route: &'a str,
    /// What a policy chose for hashing.
    pub hash_key: Option<&'a [u8]>,
}

impl Key {
    /// Compiles a key.
    ///
    /// # Errors
    /// An unknown `by`, or one that lacks its name.
    pub fn compile(plan: &KeyPlan) -> Result<Self, PolicyError> {
        let also = plan.also.iter().map(Key::compile).collect::<Result<_, _>>()?;
        let by = match plan.by.as_str() {
            "clientIp" => By::ClientIp,
            "route" => By::Route,
            "hashKey" => By::HashKey,
            "method" | "contentType" | "source" | "protocol" => return Err(invalid(plan)),
            field => By::Field(Field::compile(field, plan.name.as_deref()).ok_or_else(|| invalid(plan))?),
        };
        Ok(Key { by, also })
    }

    /// Puts the key's bytes in place of what is in `out`. Says whether the message has
    /// them; one without shares the empty key with all others without.
    pub fn write<V: View>(&self, view: &V, input: &KeyInput<'_>, out: &mut Vec<u8>) -> bool {
        out.clear();
        if self.also.is_empty() {
            return self.by.append(view, input, out);
        }
        let mut has_any = false;
        for by in std::iter::once(&self.by).chain(self.also.iter().map(|key| &key.by)) {
            // Each part behind its length, so that no two lists of parts are one.
            let start = out.len();
            out.extend_from_slice(&[0; 4]);
            has_any |= by.append(view, input, out);
            let len = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
            out[start..start + 4].copy_from_slice(&len.to_le_bytes());
        }
        has_any
    }
}

impl By {
    fn append<V: View>(&self, view: &V, input: &KeyInput<'_>, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        match self {
            By::Field(field) => return field.append(view, out),
            By::ClientIp => put_address(view.peer().address.ip(), out),
            By::Route => out.extend_from_slice(input.route.as_bytes()),
            By::HashKey => out.extend_from_slice(input.hash_key.unwrap_or_default()),
        }
        out.len() > before
    }
}

/// IPv4 as mapped IPv6, so that a dual-stack socket makes no difference.
fn put_address(address: IpAddr, out: &mut Vec<u8>) {
    let octets = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    out.extend_from_slice(&octets);
}

fn invalid(plan: &KeyPlan) -> PolicyError {
    PolicyError::InvalidKey(plan.by.clone())
}
