//! Making, showing, changing and deleting: the same for all resources.

use culvert_manage::problem::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Api;
use super::answers::{Answer, gone, made, ok};
use super::given::{Given, read};
use crate::daemon::Manager;
use crate::model::Created;

/// A kind of resource.
pub(super) trait Resource: 'static {
    /// What somebody wants.
    type Spec: Serialize + DeserializeOwned + Send;
    /// What there is.
    type View: Serialize + Send;

    /// From Ockam's spelling to that of the spec; `is_new` if defaults may be added.
    fn respell(given: &mut Map<String, Value>, is_new: bool) -> Result<(), Problem>;
    /// What it is called.
    fn name(spec: &Self::Spec) -> &str;
    /// What somebody wanted.
    fn spec(view: Self::View) -> Self::Spec;
    /// Adds how Ockam's control API says it.
    fn as_ockam(_: &mut Map<String, Value>) {}

    /// All.
    fn list(manager: &Manager) -> Vec<Self::View>;
    /// One.
    fn show(manager: &Manager, name: &str) -> Result<Self::View, Problem>;
    /// Makes one.
    fn create(manager: &Manager, spec: Self::Spec) -> Result<(Created, Self::View), Problem>;
    /// Changes one.
    fn replace(manager: &Manager, spec: Self::Spec) -> Result<Self::View, Problem>;
    /// Deletes one.
    fn delete(manager: &Manager, name: &str) -> Result<(), Problem>;
}

impl Api {
    /// A view as it is answered with.
    fn say<R: Resource>(&self, view: R::View) -> Result<Value, Problem> {
        let mut value = object(&view)?;
        if self.ockam {
            R::as_ockam(&mut value);
        }
        Ok(Value::Object(value))
    }

    pub(super) async fn list<R: Resource>(self, node: &str) -> Answer {
        let all = self.work(node, |manager| Ok(R::list(manager))).await?;
        let said: Result<Vec<Value>, Problem> =
            all.into_iter().map(|view| self.say::<R>(view)).collect();
        ok(said?)
    }

    pub(super) async fn show<R: Resource>(self, node: &str, name: String) -> Answer {
        let view = self.work(node, move |m| R::show(m, &name)).await?;
        ok(self.say::<R>(view)?)
    }

    pub(super) async fn create<R: Resource>(self, node: &str, given: Given) -> Answer {
        let Given(mut given) = given;
        R::respell(&mut given, true)?;
        let spec = read(given)?;
        let (created, view) = self.work(node, move |m| R::create(m, spec)).await?;
        made(created, self.say::<R>(view)?)
    }

    /// Changes the fields that are given; null takes one back to its default.
    pub(super) async fn change<R: Resource>(
        self,
        node: &str,
        name: String,
        given: Given,
    ) -> Answer {
        let Given(mut given) = given;
        R::respell(&mut given, false)?;
        let changing = self.changing.clone();
        let change = move |manager: &Manager| {
            let _changing = changing.lock();
            let mut spec = object(&R::spec(R::show(manager, &name)?))?;
            for (field, value) in given {
                match value {
                    Value::Null => spec.remove(&field),
                    value => spec.insert(field, value),
                };
            }
            let spec: R::Spec = read(spec)?;
            if R::name(&spec) != name {
                return Err(Problem::invalid(
                    format!("'{name}' cannot get another name"),
                    "make another one and delete this one",
                ));
            }
            R::replace(manager, spec)
        };
        let view = self.work(node, change).await?;
        ok(self.say::<R>(view)?)
    }

    pub(super) async fn delete<R: Resource>(self, node: &str, name: String) -> Answer {
        let done = self.work(node, move |m| R::delete(m, &name)).await;
        done.map(gone)
    }
}

/// The members of what is written as an object.
fn object(value: &impl Serialize) -> Result<Map<String, Value>, Problem> {
    match serde_json::to_value(value) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(Problem::failed("this cannot be shown", "tell its makers")),
    }
}

/// Adds `up` or `down`, where Ockam's control API has it.
pub(super) fn status(view: &mut Map<String, Value>) {
    let is_up = view.get("state").is_some_and(|state| state == "up");
    let status = if is_up { "up" } else { "down" };
    view.insert("status".into(), status.into());
}

/// The handlers of a [`Resource`], described, with their routes.
macro_rules! handlers {
    ($resource:ty, $spec:ty, $view:ty, $tag:literal, $all:literal, $one:literal) => {
        use axum::Router;
        use axum::extract::State;
        use axum::routing::get;
        use utoipa::OpenApi;

        use super::Api;
        use super::answers::{Answer, Refused};
        use super::given::{At, Given};

        /// What this resource adds to the document.
        #[derive(OpenApi)]
        #[openapi(paths(list, create, show, change, delete))]
        pub(super) struct Document;

        pub(super) fn routes() -> Router<Api> {
            let one = get(show).patch(change).delete(delete);
            Router::new()
                .route($all, get(list).post(create))
                .route($one, one)
        }

        /// Lists all of them.
        #[utoipa::path(get, path = $all, tag = $tag, operation_id = concat!("list ", $tag),
            params(("node" = String, Path, description = "Name of the node, or `self`")),
            responses((status = 200, description = "All of them", body = Vec<$view>), Refused))]
        async fn list(State(api): State<Api>, At(node): At<String>) -> Answer {
            api.list::<$resource>(&node).await
        }

        /// Makes one. Asking again for the same changes nothing.
        #[utoipa::path(post, path = $all, tag = $tag, operation_id = concat!("create ", $tag),
            params(("node" = String, Path, description = "Name of the node, or `self`")),
            request_body = $spec,
            responses((status = 201, description = "It is new", body = $view),
                (status = 200, description = "The same was there already", body = $view), Refused))]
        async fn create(
            State(api): State<Api>,
            At(node): At<String>,
            given: Given,
        ) -> Answer {
            api.create::<$resource>(&node, given).await
        }

        /// Shows one and how it is doing.
        #[utoipa::path(get, path = $one, tag = $tag, operation_id = concat!("show ", $tag),
            params(("node" = String, Path, description = "Name of the node, or `self`"),
                ("name" = String, Path, description = "What it is called")),
            responses((status = 200, description = "It", body = $view), Refused))]
        async fn show(
            State(api): State<Api>,
            At((node, name)): At<(String, String)>,
        ) -> Answer {
            api.show::<$resource>(&node, name).await
        }

        /// Changes the fields that are given; null takes a field back to its default.
        #[utoipa::path(patch, path = $one, tag = $tag, operation_id = concat!("change ", $tag),
            params(("node" = String, Path, description = "Name of the node, or `self`"),
                ("name" = String, Path, description = "What it is called")),
            request_body(content = Object, description = "Any fields but its name"),
            responses((status = 200, description = "It, changed", body = $view), Refused))]
        async fn change(
            State(api): State<Api>,
            At((node, name)): At<(String, String)>,
            given: Given,
        ) -> Answer {
            api.change::<$resource>(&node, name, given).await
        }

        /// Ends and forgets it.
        #[utoipa::path(delete, path = $one, tag = $tag, operation_id = concat!("delete ", $tag),
            params(("node" = String, Path, description = "Name of the node, or `self`"),
                ("name" = String, Path, description = "What it is called")),
            responses((status = 204, description = "It is gone"), Refused))]
        async fn delete(
            State(api): State<Api>,
            At((node, name)): At<(String, String)>,
        ) -> Answer {
            api.delete::<$resource>(&node, name).await
        }
    };
}
pub(super) use handlers;
