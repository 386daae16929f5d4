//! SPIFFE identities: which service a URI in a certificate names.
//!
//! `spiffe://DOMAIN/ns/NAMESPACE/sa/NAME`, as Istio and Linkerd write it, and `spiffe://DOMAIN/NAMESPACE/NAME` name a
//! service with its namespace; `spiffe://DOMAIN/NAME`, as App Mesh's examples have it, one of the own namespace. The trust
//! domain is not compared: which authorities are believed is what the trust file says.

/// Longest URI looked at; SPIFFE allows 2048.
const MAX_BYTES: usize = 2048;

/// `NAMESPACE/NAME` of the service that a URI names; none when it is no SPIFFE identity of a service.
pub(super) fn service(uri: &str, own_namespace: &str) -> Option<String> {
    let rest = uri.strip_prefix("spiffe://").filter(|_| uri.len() <= MAX_BYTES)?;
    let (domain, path) = rest.split_once('/')?;
    let segments: Vec<&str> = path.split('/').take(5).collect();
    let plain = |segment: &&str| {
        !segment.is_empty()
            && !matches!(*segment, "." | "..")
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if domain.is_empty() || !segments.iter().all(plain) {
        return None;
    }
    let (namespace, name) = match segments.as_slice() {
        ["ns", namespace, "sa", name] | [namespace, name] => (*namespace, *name),
        [name] => (own_namespace, *name),
        _ => return None,
    };
    Some(if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_forms_name_a_service() {
        for (uri, name) in [
            ("spiffe://cluster.local/ns/shop/sa/checkout", Some("shop/checkout")),
            ("spiffe://shop.example/shop/checkout", Some("shop/checkout")),
            ("spiffe://shop.example/checkout", Some("own/checkout")),
            ("spiffe://shop.example/a/b/c", None),
            ("spiffe://shop.example/ns/shop/sa/checkout/more", None),
            ("spiffe://shop.example/shop//checkout", None),
            ("spiffe://shop.example/shop/../checkout", None),
            ("spiffe://shop.example/sh op/checkout", None),
            ("spiffe://shop.example/", None),
            ("spiffe:///shop/checkout", None),
            ("https://shop.example/shop/checkout", None),
        ] {
            assert_eq!(service(uri, "own").as_deref(), name, "{uri}");
        }
    }
}
