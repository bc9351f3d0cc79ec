"""The five pipelines; each cohort of the study is a namespace in them."""
