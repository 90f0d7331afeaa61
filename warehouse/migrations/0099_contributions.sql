-- How much each feature moves what a model predicts: kept where it is registered, when its training rows are at hand.

alter table research.model_distributions
add column contribution float8 check (contribution >= 0 and contribution < 'Infinity');
comment on column research.model_distributions.contribution is
'Mean absolute contribution of the feature to the booster''s margins (SHAP) over rows it was fitted on; null for score, and for models that were registered before this was kept.';
