//! Policies as the daemon sets them.

use culvert_manage::problem::Problem;
use culvert_node::store::database::Database;
use culvert_proto::policy::{Mode, Policy, ResourceType, Scope};

use super::inner::Inner;
use super::resource::Resource;
use super::status::tell;
use super::stored;
use crate::model::PolicySpec;
use crate::policy::lint;

/// What counts where no policy is set.
const NOBODY: &str = "nobody";
const CREDENTIAL: &str = "(= subject.has_credential \"true\")";

/// Reads a policy in either notation.
pub(super) fn parse(text: &str) -> Result<Policy, Problem> {
    Policy::parse(text, Mode::Strict).map_err(|error| {
        Problem::invalid(
            format!("allow: '{text}' is not a policy: {error}"),
            error.hint(),
        )
    })
}

/// Brings the policy of a spec into full form.
pub(super) fn check(allow: &mut Option<String>) -> Result<(), Problem> {
    if let Some(text) = allow {
        *text = parse(text)?.canonical();
    }
    Ok(())
}

fn scope(resource: Option<&str>, kind: Option<&str>) -> Result<Scope, Problem> {
    let (text, scope) = match (resource, kind) {
        (Some(name), None) => (name, Scope::Name(name.to_owned())),
        (None, Some(kind)) => (kind, Scope::Type(ResourceType::from(kind))),
        _ => {
            return Err(Problem::invalid(
                "a policy is for one resource or for one type of resources",
                "give either 'resource' or 'resource-type'",
            ));
        }
    };
    if text.is_empty() || text.len() > 255 || text.contains(char::is_control) {
        return Err(Problem::invalid(
            "the name of a resource or a type has 1 to 255 bytes and no control characters",
            "",
        ));
    }
    Ok(scope)
}

impl Inner {
    pub(super) fn policies(&self) -> Result<Vec<PolicySpec>, Problem> {
        let all = self.changes().policies().map_err(stored)?;
        Ok(all
            .into_iter()
            .map(|(scope, text)| PolicySpec::new(scope, text))
            .collect())
    }

    pub(super) fn set_policy(&self, given: &PolicySpec) -> Result<PolicySpec, Problem> {
        let scope = scope(given.resource.as_deref(), given.resource_type.as_deref())?;
        if let Scope::Type(kind) = &scope {
            lint::check_type(kind.as_str())?;
        }
        let policy = parse(&given.allow)?;
        let mut database = self.changes();
        database.set_policy(&scope, &policy).map_err(stored)?;
        self.refresh(&mut database)?;
        let text = policy.canonical();
        tell(
            &self.events(),
            "policy",
            &scope.to_string(),
            "changed",
            Some(text.clone()),
        );
        Ok(PolicySpec::new(scope, text))
    }

    pub(super) fn delete_policy(
        &self,
        resource: Option<&str>,
        kind: Option<&str>,
    ) -> Result<(), Problem> {
        let scope = scope(resource, kind)?;
        let mut database = self.changes();
        if !database.delete_policy(&scope).map_err(stored)? {
            return Err(Problem::not_found(
                format!("there is no policy of {scope}"),
                "`culvert-edge policy list` shows all of them",
            ));
        }
        self.refresh(&mut database)?;
        tell(
            &self.events(),
            "policy",
            &scope.to_string(),
            "deleted",
            None,
        );
        Ok(())
    }

    /// Puts what is stored in force now, not only when it is looked at again.
    pub(super) fn refresh(&self, database: &mut Database) -> Result<(), Problem> {
        let set = database.policy_set().map_err(stored)?;
        self.standing().policies.replace(set);
        Ok(())
    }

    /// The policy that counts for a resource, in words.
    pub(super) fn policy_text(&self, kind: &ResourceType, name: &str) -> String {
        let standing = self.standing();
        let otherwise = match standing.has_authorities() {
            true => CREDENTIAL,
            false => NOBODY,
        };
        let set = standing.policies.text(name, kind);
        set.unwrap_or_else(|| otherwise.to_owned())
    }

    /// Fails where nobody could use a resource that is to be made: that is hardly meant.
    pub(super) fn somebody_may<R: Resource>(
        &self,
        database: &mut Database,
        spec: &R,
        old: Option<&R>,
    ) -> Result<(), Problem> {
        let Some(kind) = R::GUARDED else {
            return Ok(());
        };
        if spec.allow().is_some() || spec.names_peers() || self.standing().has_authorities() {
            return Ok(());
        }
        // One that came with it goes with it.
        let own_stays = old.is_none_or(|old| old.allow().is_none());
        let own = database.policy(&Scope::Name(spec.key().to_owned()));
        let of_type = database.policy(&Scope::Type(kind));
        if own_stays && own.map_err(stored)?.is_some() || of_type.map_err(stored)?.is_some() {
            return Ok(());
        }
        Err(Problem::invalid(
            format!("nobody could use the {} '{}'", R::KIND, spec.key()),
            "pass --allow with the identifier of the peer or with a policy, or enroll this machine with \
             a project (`culvert-edge project enroll`): its members are let in then",
        ))
    }
}
