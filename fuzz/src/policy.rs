//! Policies: reading, deciding and explaining any text.

use culvert_proto::credential::Attributes;
use culvert_proto::identity::Identifier;
use culvert_proto::policy::{
    Credential, Environment, MAX_TEXT, Mode, ParseError, Policy, ResourceType, Scope,
};

/// A text is read or refused; what is read has a canonical text within the limit that, in strict
/// mode, is read as the same, and its explanation decides as it does.
pub fn policy(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let attributes = Attributes::new(1, [("a", "true"), ("b", "no"), ("identifier", "x")]);
    let subject = Identifier([7; 32]);
    let valid = Environment::new("db", &subject, Credential::Valid(&attributes));
    let missing = Environment::new("db", &subject, Credential::Missing);
    let nobody = Environment::new("db", &subject, Credential::NoAuthority);
    for mode in [Mode::Strict, Mode::Compat] {
        let policy = match Policy::parse(&text, mode) {
            Ok(policy) => policy,
            Err(error) => {
                refused(&text, &error);
                continue;
            }
        };
        let canonical = policy.canonical();
        assert!(canonical.len() <= MAX_TEXT);
        if mode == Mode::Strict {
            assert_eq!(Policy::parse(&canonical, mode).as_ref(), Ok(&policy));
        }
        for environment in [&valid, &missing, &nobody] {
            let decision = policy.decide(environment);
            let explained = policy.explain(environment);
            assert_eq!(explained.decision, decision, "{canonical}");
            assert!(explained.decided().decided, "{canonical}");
        }
    }
    let kind = ResourceType::from(text.as_ref());
    assert_eq!(kind.as_str(), text);
    assert!(!Scope::Type(kind).to_string().is_empty());
}

fn refused(text: &str, error: &ParseError) {
    assert!(!error.hint().is_empty() && !error.to_string().is_empty());
    if let ParseError::Neither { shorthand, full } = error {
        assert!(text.is_char_boundary(shorthand.at) && text.is_char_boundary(full.at));
    }
}
