// SPDX-License-Identifier: MIT

// Package manifest reads the manifests of packaging/container/kustomize, and checks them as an API server does.
package manifest

import (
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install" // registers the types, their defaults and conversions
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install" // as above
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/capabilities"
	psa "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// Build returns what kustomize makes of a folder, a YAML document for each object.
func Build(dir string) (documents []string, err error) {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, fmt.Errorf("kustomize: %w", err)
	}
	for _, r := range built.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			return nil, err
		}
		documents = append(documents, string(text))
	}
	return documents, nil
}

// Objects is what the manifests declare, with Kubernetes' defaults.
type Objects struct {
	Namespace      *corev1.Namespace
	ServiceAccount *corev1.ServiceAccount
	DaemonSet      *appsv1.DaemonSet
}

// Check decodes the documents strictly, sets the defaults, validates the objects, and admits the pod to its namespace. Then
// it requires exactly the rights that the service needs.
func Check(documents []string) (Objects, Rights, error) { return check(documents, base) }

// CheckStaged is Check for the service with components/staged.
func CheckStaged(documents []string) (Objects, Rights, error) { return check(documents, staged) }

func check(documents []string, n need) (Objects, Rights, error) {
	o, err := decode(documents)
	if err == nil && (o.Namespace == nil || o.ServiceAccount == nil || o.DaemonSet == nil) {
		err = errors.New("decode: a namespace, a service account or a daemon set is missing")
	}
	if err != nil {
		return o, Rights{}, err
	}
	if err := errors.Join(admit(o.Namespace, &o.DaemonSet.Spec.Template), exact(o, n)); err != nil {
		return o, Rights{}, err
	}
	spec := &o.DaemonSet.Spec.Template.Spec
	return o, rightsOf(spec, &spec.Containers[0]), nil
}

func decode(documents []string) (o Objects, err error) {
	capabilities.Setup(true, 0) // privileged pods, as in a usual cluster
	decoder := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	for _, text := range documents {
		object, _, err := decoder.Decode([]byte(text), nil, nil)
		if err != nil {
			return o, fmt.Errorf("decode: %w", err)
		}
		legacyscheme.Scheme.Default(object)
		if err := validate(object); err != nil {
			return o, err
		}
		switch object := object.(type) {
		case *corev1.Namespace:
			o.Namespace = object
		case *corev1.ServiceAccount:
			o.ServiceAccount = object
		case *appsv1.DaemonSet:
			o.DaemonSet = object
		default:
			return o, fmt.Errorf("rights: a %T is not needed", object)
		}
	}
	return o, nil
}

// validate applies the rules of the API server to the internal form of an object.
func validate(object runtime.Object) error {
	internal, err := legacyscheme.Scheme.UnsafeConvertToVersion(object.DeepCopyObject(), runtime.InternalGroupVersioner)
	if err != nil {
		return fmt.Errorf("convert: %w", err)
	}
	var problems field.ErrorList
	switch internal := internal.(type) {
	case *core.Namespace:
		problems = corevalidation.ValidateNamespace(internal)
	case *core.ServiceAccount:
		problems = corevalidation.ValidateServiceAccount(internal)
	case *apps.DaemonSet:
		problems = appsvalidation.ValidateDaemonSet(internal, podutil.GetValidationOptionsFromPodTemplate(&internal.Spec.Template, nil))
	}
	if err := problems.ToAggregate(); err != nil {
		return fmt.Errorf("validate: %w", err)
	}
	return nil
}

// admit applies pod security admission at the level that the labels of the namespace ask for.
func admit(namespace *corev1.Namespace, pod *corev1.PodTemplateSpec) error {
	wanted, problems := psa.PolicyToEvaluate(namespace.Labels, psa.Policy{
		Enforce: psa.LevelVersion{Level: psa.LevelRestricted, Version: psa.LatestVersion()}, // of a cluster that permits little
	})
	if err := problems.ToAggregate(); err != nil {
		return fmt.Errorf("pod security: %w", err)
	}
	if result := atLevel(wanted.Enforce, pod); !result.Allowed {
		return fmt.Errorf("pod security: %s: %s", result.ForbiddenReason(), result.ForbiddenDetail())
	}
	return nil
}

func atLevel(level psa.LevelVersion, pod *corev1.PodTemplateSpec) policy.AggregateCheckResult {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		panic(err) // the checks are Kubernetes' own
	}
	return policy.AggregateCheckResults(evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec))
}
