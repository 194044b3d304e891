//! Two sessions against each other, without a socket: handshakes of every kind.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use std::path::PathBuf;
use std::sync::Arc;
use tidegate_tls::{
    ClientAuthMode, ClientAuthPlan, ClientPlan, ClientTerms, Fault, PairPlan, ServerPlan, ServerTerms, Session,
    UserFrom, VersionPlan,
};

struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let folder = std::env::temp_dir().join(format!("tidegate-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        std::fs::write(folder.join("ca.pem"), issuer.pem()).expect("written");
        Authority { folder, issuer }
    }

    fn path(&self, file: &str) -> String {
        self.folder.join(file).to_string_lossy().into_owned()
    }

    fn issue(&self, name: &str, names: &[&str]) -> PairPlan {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("names");
        let cert = params.signed_by(&key, &self.issuer).expect("signed");
        let pair = PairPlan { cert: self.path(&format!("{name}.pem")), key: self.path(&format!("{name}.key")) };
        std::fs::write(&pair.cert, cert.pem()).expect("written");
        std::fs::write(&pair.key, key.serialize_pem()).expect("written");
        pair
    }

    /// An empty list that ends with that year.
    fn list(&self, name: &str, ends: i32) -> String {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(ends, 12, 31),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("signed");
        let path = self.path(name);
        std::fs::write(&path, list.pem().expect("encoded")).expect("written");
        path
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn server(certificates: Vec<PairPlan>, client_auth: Option<ClientAuthPlan>) -> ServerPlan {
    let alpn = vec!["h2".to_owned(), "http/1.1".to_owned()];
    ServerPlan { certificates, min_version: VersionPlan::Tls12, client_auth, session_tickets: true, alpn }
}

fn client(authority: &Authority, name: &str) -> ClientPlan {
    ClientPlan {
        ca: vec![authority.path("ca.pem")],
        server_name: Some(name.to_owned()),
        certificate: None,
        verify: true,
        min_version: VersionPlan::Tls12,
        alpn: vec!["http/1.1".to_owned()],
    }
}

/// Moves what one side has to say to the other, `step` bytes at a time.
fn carry(from: &mut Session, to: &mut Session, (step, plain): (usize, &mut Vec<u8>)) -> Result<(), Fault> {
    for piece in std::mem::take(&mut from.out).chunks(step) {
        to.receive(piece, &mut |bytes| plain.extend_from_slice(bytes))?;
    }
    Ok(())
}

fn shake(server: &ServerTerms, client: &ClientTerms, step: usize) -> Result<(Session, Session), Fault> {
    let mut client = Session::client(client, "127.0.0.1")?;
    let mut server = Session::server(server)?;
    for _ in 0..4 {
        let mut none = Vec::new();
        carry(&mut client, &mut server, (step, &mut none))?;
        carry(&mut server, &mut client, (step, &mut none))?;
        assert!(none.is_empty());
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((server, client))
}

fn loaded(plan: &ServerPlan) -> Arc<ServerTerms> {
    ServerTerms::load(plan, None).expect("good terms")
}

#[test]
fn plaintext_arrives_however_records_are_cut() {
    let authority = Authority::new("plain");
    let terms = loaded(&server(vec![authority.issue("a", &["a.test"])], None));
    let trust = ClientTerms::load(&client(&authority, "a.test")).expect("good terms");
    for step in [1, 7, 4_096, usize::MAX] {
        let (mut server, mut client) = shake(&terms, &trust, step).expect("a handshake");
        assert_eq!((server.alpn(), &*server.server_name().expect("asked for")), (Some(&b"http/1.1"[..]), "a.test"));
        assert!(server.names.as_ref().expect("shown").cover("a.test"));
        let sent: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
        let mut records = Vec::new();
        client.encrypt(&sent, &mut records).expect("encrypted");
        client.out = records;
        let mut received = Vec::new();
        carry(&mut client, &mut server, (step, &mut received)).expect("decrypted");
        assert_eq!(received, sent);
        client.close();
        carry(&mut client, &mut server, (step, &mut received)).expect("closed");
        assert!(server.is_at_end());
    }
}

#[test]
fn the_certificate_is_chosen_by_name_exact_before_wildcard_before_the_first() {
    let authority = Authority::new("names");
    let pairs = [("first", "first.test"), ("wild", "*.wild.test"), ("exact", "x.wild.test")];
    let pairs = pairs.map(|(name, covered)| authority.issue(name, &[covered]));
    let terms = loaded(&server(pairs.to_vec(), None));
    for (asked, covers) in
        [("x.wild.test", "x.wild.test"), ("y.wild.test", "y.wild.test"), ("first.test", "first.test")]
    {
        let trust = ClientTerms::load(&client(&authority, asked)).expect("good terms");
        let (server, _) = shake(&terms, &trust, 500).expect("a handshake");
        assert!(server.names.as_ref().expect("shown").cover(covers), "{asked}");
        assert_eq!(server.names.as_ref().is_some_and(|names| names.cover("z.wild.test")), asked == "y.wild.test");
    }
    let unknown = ClientTerms::load(&client(&authority, "nobody.test")).expect("good terms");
    assert!(shake(&terms, &unknown, 500).is_err(), "the first one does not cover it");
}

#[test]
fn a_client_certificate_is_required_or_requested_and_its_fields_are_read() {
    let authority = Authority::new("mutual");
    let other = Authority::new("stranger");
    let own = authority.issue("server", &["a.test"]);
    let auth = |mode| Some(ClientAuthPlan { ca: vec![authority.path("ca.pem")], crl: Vec::new(), mode, user: None });
    let required = loaded(&server(vec![own.clone()], auth(ClientAuthMode::Require)));
    let requested = loaded(&server(vec![own], auth(ClientAuthMode::Request)));
    let nobody = ClientTerms::load(&client(&authority, "a.test")).expect("good terms");
    assert!(shake(&required, &nobody, 500).is_err());
    assert!(shake(&requested, &nobody, 500).expect("a handshake").0.client_certificate().is_none());
    let shows = |pair| ClientPlan { certificate: Some(pair), ..client(&authority, "a.test") };
    let device = ClientTerms::load(&shows(authority.issue("device", &["device-1"]))).expect("good terms");
    let (session, _) = shake(&required, &device, 500).expect("a handshake");
    let shown = session.client_certificate().expect("shown");
    let names: Vec<_> = shown.names.iter().map(|name| (name.kind.label(), &*name.text)).collect();
    assert_eq!((&*names, shown.fingerprint.len()), (&[("dns", "device-1")][..], 64));
    assert_eq!(UserFrom::Dns.user(&shown), Some("device-1"));
    assert_eq!((UserFrom::Mail.user(&shown), UserFrom::Fingerprint.user(&shown)), (None, Some(&*shown.fingerprint)));
    let stranger = ClientTerms::load(&shows(other.issue("stranger", &["device-1"]))).expect("good terms");
    assert!(shake(&requested, &stranger, 500).is_err(), "what is shown must be valid even where nothing must be");
}

#[test]
fn a_list_of_revocations_that_has_ended_vouches_for_nobody_and_a_bad_one_is_named() {
    let authority = Authority::new("revoked");
    let own = authority.issue("server", &["a.test"]);
    let asks = |crl| {
        let auth =
            ClientAuthPlan { ca: vec![authority.path("ca.pem")], crl, mode: ClientAuthMode::Require, user: None };
        ServerTerms::load(&server(vec![own.clone()], Some(auth)), None)
    };
    let shows = ClientPlan { certificate: Some(authority.issue("device", &["d"])), ..client(&authority, "a.test") };
    let device = ClientTerms::load(&shows).expect("good terms");
    let (fresh, ended) = (authority.list("fresh.crl", 2_199), authority.list("ended.crl", 2_020));
    let terms = asks(vec![fresh.clone()]).expect("good terms");
    assert!(shake(&terms, &device, 500).is_ok());
    assert_eq!(terms.revocations_end, Some(7_258_032_000));
    let over = asks(vec![ended]).expect("good terms");
    assert!(shake(&over, &device, 500).is_err());
    let bad = authority.path("bad.crl");
    std::fs::write(&bad, "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n").expect("written");
    let fault = asks(vec![fresh, bad]).expect_err("a fault").to_string();
    assert!(fault.contains("bad.crl: holds a revocation list that is not"), "{fault}");
}

#[test]
fn a_bad_file_is_named_with_what_is_wrong_with_it() {
    let authority = Authority::new("faults");
    let (one, two) = (authority.issue("one", &["a.test"]), authority.issue("two", &["a.test"]));
    let fault = |cert: &str, key: &str| {
        let pair = PairPlan { cert: cert.to_owned(), key: key.to_owned() };
        ServerTerms::load(&server(vec![pair], None), None).expect_err("a fault").to_string()
    };
    let crossed = fault(&one.cert, &two.key);
    assert!(crossed.contains("two.key") && crossed.contains("is not the private key") && crossed.contains("one.pem"));
    assert!(fault(&one.key, &one.key).contains("holds no certificate"));
    assert!(fault(&one.cert, &one.cert).contains("holds no private key"));
    assert!(fault("/nowhere.pem", &one.key).contains("/nowhere.pem: cannot be read"));
}

#[test]
fn the_same_files_are_the_same_terms_and_others_are_not() {
    let authority = Authority::new("again");
    let plan = server(vec![authority.issue("a", &["a.test"])], None);
    let terms = loaded(&plan);
    assert!(Arc::ptr_eq(&terms, &ServerTerms::load(&plan, Some(&terms)).expect("good terms")));
    authority.issue("a", &["b.test"]);
    assert!(!Arc::ptr_eq(&terms, &ServerTerms::load(&plan, Some(&terms)).expect("good terms")));
}

#[test]
fn rubbish_is_a_fault_with_an_alert_and_never_a_panic() {
    let authority = Authority::new("rubbish");
    let terms = loaded(&server(vec![authority.issue("a", &["a.test"])], None));
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", &[0x16; 70_000]] {
        let mut session = Session::server(&terms).expect("good terms");
        assert!(session.receive(bytes, &mut |_| {}).is_err());
        assert_eq!(session.out.first(), Some(&21), "an alert");
    }
}
